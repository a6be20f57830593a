-- 0002 - nations, institutions, people, projects, and what identifies them.
-- SPDX-License-Identifier: GPL-3.0-or-later

CREATE TABLE nation (
    id integer PRIMARY KEY,
    code text NOT NULL UNIQUE,
    name text NOT NULL,
    state text NOT NULL,
    ca_spki bytea CHECK (length(ca_spki) = 32)
);
COMMENT ON TABLE nation IS 'A nation that takes part, and the council';
COMMENT ON COLUMN nation.id IS 'Number within the facility';
COMMENT ON COLUMN nation.code IS 'Short name in addresses: cz, council';
COMMENT ON COLUMN nation.name IS 'Name for people';
COMMENT ON COLUMN nation.state IS 'active or suspended';
COMMENT ON COLUMN nation.ca_spki IS 'SHA-256 of the public key of its intermediate CA: who signed by it is of this nation';

CREATE TABLE institution (
    id integer PRIMARY KEY,
    nation integer NOT NULL REFERENCES nation,
    name text NOT NULL,
    tier integer NOT NULL,
    tier_until_us bigint,
    UNIQUE (nation, name)
);
COMMENT ON TABLE institution IS 'An institution of a nation; its clearance is one of the four locks';
COMMENT ON COLUMN institution.id IS 'Number within the facility';
COMMENT ON COLUMN institution.nation IS 'Its nation';
COMMENT ON COLUMN institution.name IS 'Short name';
COMMENT ON COLUMN institution.tier IS 'Highest clearance tier it is accredited for';
COMMENT ON COLUMN institution.tier_until_us IS 'When that ends, microseconds since the epoch';

CREATE TABLE person (
    id integer PRIMARY KEY,
    nation integer NOT NULL REFERENCES nation,
    institution integer REFERENCES institution,
    login text NOT NULL,
    name text NOT NULL,
    roles integer NOT NULL,
    tier integer NOT NULL,
    tier_until_us bigint,
    state text NOT NULL,
    UNIQUE (nation, login)
);
COMMENT ON TABLE person IS 'Someone who may act here';
COMMENT ON COLUMN person.id IS 'Number within the facility';
COMMENT ON COLUMN person.nation IS 'Nation that vouches for the person';
COMMENT ON COLUMN person.institution IS 'Institution, if any';
COMMENT ON COLUMN person.login IS 'Short name, the id part of the certificate''s name';
COMMENT ON COLUMN person.name IS 'Name for people';
COMMENT ON COLUMN person.roles IS 'Bits of enum role: 1 researcher, 2 lead, 4 nation-admin, 8 operator, 16 council, 32 reviewer';
COMMENT ON COLUMN person.tier IS 'Clearance tier';
COMMENT ON COLUMN person.tier_until_us IS 'When the clearance ends, microseconds since the epoch';
COMMENT ON COLUMN person.state IS 'active or suspended';

CREATE TABLE project (
    id integer PRIMARY KEY,
    nation integer NOT NULL REFERENCES nation,
    name text NOT NULL,
    title text NOT NULL,
    tier integer NOT NULL,
    tier_until_us bigint,
    state text NOT NULL,
    UNIQUE (nation, name)
);
COMMENT ON TABLE project IS 'A project of a nation; jobs belong to one';
COMMENT ON COLUMN project.id IS 'Number within the facility';
COMMENT ON COLUMN project.nation IS 'Nation that pays for it';
COMMENT ON COLUMN project.name IS 'Short name';
COMMENT ON COLUMN project.title IS 'Title for people';
COMMENT ON COLUMN project.tier IS 'Highest tier its protocol is approved for';
COMMENT ON COLUMN project.tier_until_us IS 'When that ends, microseconds since the epoch';
COMMENT ON COLUMN project.state IS 'active or closed';

CREATE TABLE member (
    project integer NOT NULL REFERENCES project,
    person integer NOT NULL REFERENCES person,
    role text NOT NULL,
    PRIMARY KEY (project, person)
);
COMMENT ON TABLE member IS 'Who works in a project';
COMMENT ON COLUMN member.project IS 'The project';
COMMENT ON COLUMN member.person IS 'The person, of any nation';
COMMENT ON COLUMN member.role IS 'lead or member; empty: no more, but the account stays';
CREATE INDEX member_person ON member (person);

CREATE TABLE credential (
    spki bytea PRIMARY KEY CHECK (length(spki) = 32),
    kind text NOT NULL,
    nation integer REFERENCES nation,
    subject text NOT NULL,
    person integer REFERENCES person,
    not_after_us bigint NOT NULL,
    revoked_us bigint
);
COMMENT ON TABLE credential IS 'Public keys that were given a certificate; a certificate whose key is not here is refused';
COMMENT ON COLUMN credential.spki IS 'SHA-256 of the public key';
COMMENT ON COLUMN credential.kind IS 'person, agent, helper, server, operator';
COMMENT ON COLUMN credential.nation IS 'Nation that issued it; NULL for the operator''s CA';
COMMENT ON COLUMN credential.subject IS 'The id part of its name';
COMMENT ON COLUMN credential.person IS 'The person, if it is one''s';
COMMENT ON COLUMN credential.not_after_us IS 'End of the certificate, microseconds since the epoch';
COMMENT ON COLUMN credential.revoked_us IS 'When it was revoked, if it was';

CREATE TABLE token (
    sha256 bytea PRIMARY KEY CHECK (length(sha256) = 32),
    kind text NOT NULL,
    nation integer REFERENCES nation,
    subject text NOT NULL,
    person integer REFERENCES person,
    expires_us bigint NOT NULL,
    used_us bigint
);
COMMENT ON TABLE token IS 'One-time tokens that may enrol a key; only their digests are here';
COMMENT ON COLUMN token.sha256 IS 'SHA-256 of the token';
COMMENT ON COLUMN token.kind IS 'Kind of the credential it gives';
COMMENT ON COLUMN token.nation IS 'Nation that will issue it; NULL for the operator''s CA';
COMMENT ON COLUMN token.subject IS 'The id part of the name it gives';
COMMENT ON COLUMN token.person IS 'The person, if it is for one';
COMMENT ON COLUMN token.expires_us IS 'Last moment of its use, microseconds since the epoch';
COMMENT ON COLUMN token.used_us IS 'When it was used; it works once';
