create extension hstore;
create schema "App";
comment on schema "App" is 'it''s; COPY public.fake (a) FROM stdin;';
create type mood as enum ('sad', 'it''s ok', 'happy');
create domain positive as integer check (value > 0);
create table users (
    id bigint generated always as identity primary key,
    name text not null,
    mood mood default 'happy',
    age positive,
    tags text[],
    profile jsonb,
    picture bytea,
    attributes hstore,
    shouted text generated always as (upper(name)) stored
);
insert into users (name, age, tags, profile, picture, attributes)
select 'ünïcode ' || i || E'\n\\.\n\ttab\\N', i, array['a', 'b"c', null], jsonb_build_object('k', E'line\nbreak'),
       decode('00ff0a5c2e0a', 'hex'), 'a=>1'
from generate_series(1, 250) i;
create table conversations (id serial, at date not null, body text) partition by range (at);
create table conversations_2023 partition of conversations for values from ('2023-01-01') to ('2024-01-01');
create table conversations_2024 partition of conversations for values from ('2024-01-01') to ('2025-01-01');
insert into conversations (at, body) select date '2023-06-01' + i, 'b' from generate_series(0, 299) i;
create table empty (id integer);
create table nothing_but_generated (a integer generated always as (1) stored);
insert into nothing_but_generated default values;
create table no_columns ();
insert into no_columns default values;
insert into no_columns default values;
create table "App"."Quoted.Name with ""quotes""
and a newline; COPY public.fake (a) FROM stdin;
1
\." ("col
umn" text, "FROM stdin;" integer);
insert into "App"."Quoted.Name with ""quotes""
and a newline; COPY public.fake (a) FROM stdin;
1
\." values (E'\\.', 1), (null, 2), ('-- PostgreSQL database dump complete', 3);
create view happy_users as select id, name from users where mood = 'happy' and name <> '; COPY a FROM stdin;';
create materialized view user_count as select count(*) from users;
create function lookalike() returns text language plpgsql as $_$
begin
    -- PostgreSQL database dump complete
    return $q$
COPY public.fake (a) FROM stdin;
1
\.
$q$;
end $_$;
create function atomic(a integer) returns integer begin atomic; select a + 1; select 'x;'; select a; end;
create function stamp() returns trigger language plpgsql as 'begin new.body := ''it''''s''; return new; end';
create trigger stamp before insert on conversations for each row execute function stamp();
alter table users enable row level security;
create policy own on users using (name = current_user);
comment on table users is E'a comment\n-- PostgreSQL database dump complete\n';
create sequence counter start 42;
select nextval('counter');
select lo_from_bytea(4242, decode('0a0a0affff00', 'hex')), lo_from_bytea(4243, decode(repeat('0a', 100000), 'hex'));
create publication everything for all tables;
create rule no_delete as on delete to empty do instead nothing;
