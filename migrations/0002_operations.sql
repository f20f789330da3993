-- Operations: accepted with their idempotency key in one transaction; steps under epochs.

CREATE TABLE operations (
    operation_id text PRIMARY KEY,
    tenant_id    text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('onboard_tenant', 'export_dataset', 'train_model', 'promote_model', 'predict_async',
                                                  'run_drill')),
    state        text NOT NULL DEFAULT 'accepted'
                 CHECK (state IN ('accepted', 'running', 'parked', 'compensating', 'succeeded', 'failed', 'cancelled')),
    -- grows with every update; an older update never overwrites a newer one
    sequence     bigint NOT NULL DEFAULT 0,
    params       jsonb NOT NULL,
    result       jsonb,
    step         text,
    progress     jsonb,
    code         text,
    message      text,
    cancel_requested_at timestamptz,
    -- when Temporal had it; until then the sweeper delivers it
    cancel_delivered_at timestamptz,
    -- counts the parkings; the rest is there while it is parked
    park         bigint NOT NULL DEFAULT 0,
    parked_at    timestamptz,
    park_deadline timestamptz,
    at_deadline  text CHECK (at_deadline IN ('compensate', 'retry')),
    verbs        text[] NOT NULL DEFAULT '{}',
    -- what somebody decided about this parking: verb, correction, who; the sweeper delivers it when it is due
    decision     jsonb,
    decision_due_at timestamptz,
    decision_delivered_at timestamptz,
    -- its run was found terminated: the next one unwinds
    terminated_at timestamptz,
    -- its workflow task keeps failing, since then
    stuck_since  timestamptz,
    -- and so says that event of its history
    stuck_event  bigint,
    stuck_why    text,
    -- when its run was last compared with this row
    reconciled_at timestamptz NOT NULL DEFAULT now(),
    -- its effect has been seen, or its undoing has begun; never both
    pivot_passed_at timestamptz,
    undo_began_at timestamptz,
    requested_by text NOT NULL,
    consent_version bigint,
    workflow_id  text NOT NULL UNIQUE,
    run_id       text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,
    ended_at     timestamptz,
    CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (ended_at IS NOT NULL)),
    CHECK ((state = 'parked') = (parked_at IS NOT NULL)),
    CHECK (pivot_passed_at IS NULL OR (undo_began_at IS NULL AND state NOT IN ('failed', 'cancelled')))
);
CREATE INDEX operations_by_tenant ON operations (tenant_id, created_at DESC, operation_id DESC);
CREATE INDEX operations_by_time ON operations (created_at DESC, operation_id DESC);
CREATE INDEX operations_to_start ON operations (created_at) WHERE state = 'accepted' AND run_id IS NULL;
CREATE INDEX operations_to_cancel ON operations (created_at) WHERE cancel_delivered_at IS NULL AND cancel_requested_at IS NOT NULL;
CREATE INDEX operations_parked ON operations (parked_at) WHERE state = 'parked';
CREATE INDEX operations_to_decide ON operations (decision_due_at) WHERE decision IS NOT NULL AND decision_delivered_at IS NULL;
CREATE INDEX operations_to_reconcile ON operations (reconciled_at) WHERE ended_at IS NULL AND run_id IS NOT NULL;
CALL isolate_tenants('operations');

CREATE FUNCTION refuse_change_of_ended_operation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state IN ('succeeded', 'failed', 'cancelled') AND NEW.state <> OLD.state THEN
        RAISE EXCEPTION 'operation % has ended as % and cannot become %', OLD.operation_id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER ended_operations_stay_ended BEFORE UPDATE ON operations
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_ended_operation();

-- scope: the tenant, or 'operator' for calls that no tenant makes
CREATE TABLE idempotency_keys (
    tenant_id    text NOT NULL,
    method       text NOT NULL,
    key_hash     bytea NOT NULL,
    body_hash    bytea NOT NULL,
    -- deferred: the key is claimed first, since concurrent calls wait for it, and the operation is written after it
    operation_id text NOT NULL REFERENCES operations ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, method, key_hash)
);
CREATE INDEX idempotency_keys_by_operation ON idempotency_keys (operation_id);
CALL isolate_tenants('idempotency_keys');
-- An operator's transaction that names a tenant still reaches the keys of calls that no tenant makes.
CREATE POLICY operator_calls ON idempotency_keys TO leadline_operator
    USING (tenant_id = 'operator') WITH CHECK (tenant_id = 'operator');

-- One row for each step and epoch. An effect commits together with its row, and only while the epoch is open; an undo
-- closes the epoch first, so that an attempt that wakes up later changes nothing.
CREATE TABLE step_ledger (
    tenant_id    text NOT NULL,
    operation_id text NOT NULL REFERENCES operations ON DELETE CASCADE,
    step         text NOT NULL,
    epoch        bigint NOT NULL,
    state        text NOT NULL CHECK (state IN ('open', 'done', 'closed', 'undone')),
    -- small facts that the undo or a repeat needs: ids, keys, counts
    facts        jsonb NOT NULL DEFAULT '{}',
    result       jsonb,
    opened_at    timestamptz NOT NULL DEFAULT now(),
    changed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (operation_id, step, epoch)
);
CALL isolate_tenants('step_ledger');

-- Heavy steps that run, or wait in line for it: a lane runs only so many of a tenant's at a time, on whatever worker.
CREATE TABLE step_permits (
    tenant_id    text NOT NULL,
    lane         text NOT NULL,
    operation_id text NOT NULL REFERENCES operations ON DELETE CASCADE,
    step         text NOT NULL,
    -- the attempt that runs; absent while the step waits
    holder       text,
    -- in the order in which they came, also within one moment
    asked_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- kept up by whoever runs: a worker that died leaves no permit behind
    lapses_at    timestamptz NOT NULL,
    PRIMARY KEY (operation_id, step)
);
CREATE INDEX step_permits_by_lane ON step_permits (tenant_id, lane);
CALL isolate_tenants('step_permits');

CREATE TABLE audit_log (
    audit_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    text NOT NULL,
    operation_id text,
    actor        text NOT NULL,
    action       text NOT NULL,
    detail       jsonb NOT NULL DEFAULT '{}',
    at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_log_by_operation ON audit_log (operation_id, audit_id);
CREATE INDEX audit_log_by_tenant ON audit_log (tenant_id, audit_id);
CALL isolate_tenants('audit_log');
REVOKE UPDATE, DELETE ON audit_log FROM leadline_tenant, leadline_operator;

-- Calls to Salesforce, reserved before they are made.
CREATE TABLE api_budgets (
    tenant_id   text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    day         date NOT NULL,
    allowed     bigint NOT NULL,
    used        bigint NOT NULL DEFAULT 0,
    -- what the vendor last said is left for the whole org, less the calls made since
    vendor_remaining bigint,
    PRIMARY KEY (tenant_id, day)
);
CALL isolate_tenants('api_budgets');

CREATE TABLE api_reservations (
    tenant_id    text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    operation_id text NOT NULL,
    day          date NOT NULL,
    reserved     bigint NOT NULL CHECK (reserved >= 0),
    spent        bigint NOT NULL DEFAULT 0,
    released_at  timestamptz,
    PRIMARY KEY (operation_id)
);
CREATE INDEX api_reservations_outstanding ON api_reservations (tenant_id) WHERE released_at IS NULL;
CALL isolate_tenants('api_reservations');

-- Fields sent with an asynchronous prediction, and prior values kept for an undo: out of every history, with an expiry.
CREATE TABLE claims (
    tenant_id    text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    operation_id text NOT NULL,
    purpose      text NOT NULL,
    content      jsonb NOT NULL,
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (operation_id, purpose)
);
CREATE INDEX claims_by_expiry ON claims (expires_at);
CALL isolate_tenants('claims');
