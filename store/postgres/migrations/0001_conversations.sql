-- needs: 1
-- The fold of the log, up to a position per partition, and that position, in one transaction (R11).
-- Text that clients make is kept as they sent it; ids are uuid; times are Unix milliseconds; digests are 16 bytes.

-- R13: which log this is the fold of.
create table log_identity (
  only_one boolean primary key default true check (only_one),
  topic_id text not null,
  partitions integer not null check (partitions > 0)
);

create table positions (
  partition integer primary key,
  next_offset bigint not null
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

create table conversations (
  id uuid primary key,
  partition integer not null,
  kind smallint not null,
  last_seq bigint not null,
  last_number bigint not null,
  last_message_seq bigint not null,
  last_time bigint not null,
  changed_offset bigint not null,  -- of the last record that changed this row
  member_count integer not null,
  all_muted_until bigint,
  dissolved boolean not null,
  history_for_new_members boolean not null,
  members_may_add boolean not null,
  mention_all_admins boolean not null,
  chain bytea not null,
  blockers bytea not null,  -- user ids, 16 bytes each
  title text not null,
  notice text not null,
  avatar text not null,
  description text not null
) with (fillfactor = 70);  -- a row changes with each message, none of its indexed columns does: heap-only updates

-- Present members only.
create table members (
  conversation uuid not null,
  user_id uuid not null,
  role smallint not null,
  stay_from bigint not null,
  muted_until bigint,
  read_seq bigint not null,
  read_number bigint not null,
  delivered_seq bigint not null,
  changed_offset bigint not null,
  primary key (conversation, user_id)
) with (fillfactor = 75);
create index members_by_user on members (user_id);

-- Who may see what, for ever: [from_seq, to_seq], open while the stay lasts.
create table stays (
  conversation uuid not null,
  user_id uuid not null,
  joined_seq bigint not null,
  from_seq bigint not null,
  to_seq bigint,
  primary key (conversation, user_id, joined_seq)
) with (fillfactor = 90);

-- The one meaning of visibility: the union of the stays, as disjoint spans [lo, hi).
create function visible_spans(in_conversation uuid, in_user uuid) returns table (lo bigint, hi bigint)
language sql stable parallel safe as $$
  select lower(span), coalesce(upper(span), 9223372036854775807)
  from (select unnest(range_agg(int8range(from_seq, to_seq, '[]'))) as span
        from stays where conversation = in_conversation and user_id = in_user) as spans
$$;

create table events (
  conversation uuid not null,
  seq bigint not null,
  number bigint,
  time_ms bigint not null,
  log_offset bigint not null,
  payload_hash bigint not null,
  partition integer not null,
  kind smallint not null,
  id_is_op boolean not null,
  quarantined boolean not null,
  sender uuid not null,
  id uuid,
  chain bytea not null,
  body_hash bytea not null,
  salt bytea not null,
  device text not null,
  body bytea not null,
  primary key (conversation, seq)
);
-- R8 looks ids up; UUIDv7 makes this nearly append-only.
create index events_by_id on events (id) where id is not null;
-- Downstream readers scan (partition, offset) without a second btree on the hot table.
create index events_by_offset on events using brin (partition, log_offset) with (pages_per_range = 16, autosummarize = on);

create table schedules (
  conversation uuid not null,
  user_id uuid not null,
  id uuid not null,
  partition integer not null,
  log_offset bigint not null,
  payload_hash bigint not null,
  due_ms bigint not null,
  done boolean not null,
  device text not null,
  body bytea not null,
  primary key (conversation, user_id, id, log_offset)  -- a client may use an id twice against the rules
);
create index schedules_due on schedules (partition, due_ms) where not done;
create index schedules_by_offset on schedules (conversation, log_offset);
