-- What the publisher of a version wrote, such as why it was published without a simulation.
ALTER TABLE document_version ADD COLUMN note text;
