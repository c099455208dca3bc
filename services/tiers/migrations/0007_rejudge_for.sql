-- What arrived at rejudge_from, as the cause of what judging again changes: {correlation_id, source, id, time, reason}.
ALTER TABLE customer ADD COLUMN rejudge_for json;
