-- needs: 1
-- Users and their login sessions: the one part that gateways write themselves.

create table users (
  id uuid primary key,
  username text not null,
  display_name text not null,
  password_hash text not null,
  created timestamptz not null default now()
);
create unique index users_by_name on users ((lower(username)) collate "C");

-- A login session: one refresh family (D13).
create table logins (
  id uuid primary key,
  user_id uuid not null references users (id),
  device text not null,
  ended boolean not null default false,
  ended_at timestamptz,
  revoked boolean not null default false,
  created timestamptz not null default now()
);
create index logins_by_user on logins (user_id) where not ended;
create index logins_ended on logins (ended_at) where ended;  -- who listened again asks what he missed

-- SHA-256 of refresh tokens. Used ones stay until they expire, so that their reuse is seen.
create table refresh_tokens (
  hash bytea primary key,
  login uuid not null references logins (id) on delete cascade,
  used boolean not null default false,
  expires_ms bigint not null
);
create index refresh_tokens_by_login on refresh_tokens (login);
