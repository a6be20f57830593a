-- 0020 - requests of administrators that were done, so that none is done twice.
-- SPDX-License-Identifier: GPL-3.0-or-later

CREATE TABLE request (
    id uuid PRIMARY KEY,
    body_sha256 bytea NOT NULL CHECK (length(body_sha256) = 32),
    at_us bigint NOT NULL,
    answer text NOT NULL
);
CREATE INDEX request_at ON request USING brin (at_us) WITH (pages_per_range = 32);
COMMENT ON TABLE request IS 'Each change that an administrator asked for and got, written with it; read again for the window of ids';
COMMENT ON COLUMN request.id IS 'Its idempotency key, made by the client';
COMMENT ON COLUMN request.body_sha256 IS 'Of what was asked for: the route, its parameters and the body';
COMMENT ON COLUMN request.at_us IS 'The core''s stamped time, microseconds since the epoch';
COMMENT ON COLUMN request.answer IS 'What was answered, and is again; holds no secret';
CREATE TRIGGER request_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON request
    FOR EACH STATEMENT EXECUTE FUNCTION deny_change();
GRANT SELECT ON request TO beamtime_read;
