-- Experiments. One that only a split names has a row too, from its first exposure on, and can be declared afterwards.
CREATE TABLE experiment (
    number     bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         text             NOT NULL UNIQUE,
    arms       json             NOT NULL, -- [[id, weight], …], the first is compared against
    holdout    double precision NOT NULL CHECK (holdout >= 0 AND holdout < 1),
    goal_type  text,
    goal_days  int              CHECK (goal_days > 0),
    declared   boolean          NOT NULL,
    created_at timestamptz      NOT NULL,
    CONSTRAINT experiment_goal CHECK ((goal_type IS NULL) = (goal_days IS NULL))
);
CREATE INDEX experiment_goal_type ON experiment (goal_type) WHERE goal_type IS NOT NULL;

-- Who reached an experiment, when first, and in which arm. An erasure takes the customer out and leaves what is counted.
CREATE TABLE exposure (
    number       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    experiment   text        NOT NULL,
    customer_id  text,
    arm          text, -- null: held out
    at           timestamptz NOT NULL,
    converted_at timestamptz,
    CONSTRAINT exposure_once UNIQUE (customer_id, experiment)
);
CREATE INDEX exposure_of_experiment ON exposure (experiment, arm) INCLUDE (converted_at);
