-- A database laid out like Supabase's: its roles, schemas and owners. Run by the superuser `supabase_admin` in the
-- database `postgres` of a new server; the role `postgres` is no superuser there. What a user makes in such a database is
-- in supabase_like_content.sql.

create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit;
grant anon, authenticated, service_role to authenticator;
create role dashboard_user nologin createdb createrole replication;
create role pgbouncer login;
create role supabase_auth_admin login noinherit createrole;
create role supabase_storage_admin login noinherit createrole;
create role supabase_replication_admin login replication;
create role pgsodium_keyholder nologin;
create role postgres login createdb createrole replication bypassrls;
grant anon, authenticated, service_role, authenticator, pg_monitor, pg_signal_backend to postgres with admin option;
grant set on parameter session_replication_role to postgres;
alter database postgres owner to postgres;
grant create on schema public to postgres;
grant usage on schema public to anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public grant all on tables to anon, authenticated, service_role;

create schema auth authorization supabase_auth_admin;
create schema storage authorization supabase_storage_admin;
create schema realtime authorization supabase_admin;
create schema _realtime authorization supabase_admin;
create schema graphql authorization supabase_admin;
create schema graphql_public authorization supabase_admin;
create schema vault authorization supabase_admin;
create schema pgsodium authorization supabase_admin;
create schema pgbouncer authorization pgbouncer;
create schema supabase_functions authorization supabase_admin;
create schema supabase_migrations authorization postgres;
create schema extensions authorization postgres;
grant usage on schema auth, storage, extensions, graphql_public to postgres, anon, authenticated, service_role;
create extension pgcrypto with schema extensions;

create table auth.schema_migrations (version varchar(255) primary key);
create table auth.users (
    id uuid primary key default gen_random_uuid(),
    email varchar(255) unique,
    encrypted_password varchar(255),
    raw_user_meta_data jsonb,
    confirmed_at timestamptz generated always as (null::timestamptz) stored,
    created_at timestamptz default now()
);
create table auth.identities (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null references auth.users on delete cascade,
    provider text not null
);
create table auth.refresh_tokens (id bigserial primary key, token varchar(255), user_id uuid references auth.users);
create function auth.uid() returns uuid language sql stable as 'select null::uuid';
alter table auth.schema_migrations owner to supabase_auth_admin;
alter table auth.users owner to supabase_auth_admin;
alter table auth.identities owner to supabase_auth_admin;
alter table auth.refresh_tokens owner to supabase_auth_admin;
alter function auth.uid() owner to supabase_auth_admin;
grant all on all tables in schema auth to postgres, dashboard_user;
grant all on all sequences in schema auth to postgres, dashboard_user;
insert into auth.schema_migrations values ('20171026211738'), ('20230322519590');

create table storage.migrations (id integer primary key, name varchar(100) unique not null);
create table storage.buckets (id text primary key, name text not null, public boolean default false);
create table storage.objects (
    id uuid primary key default gen_random_uuid(),
    bucket_id text references storage.buckets,
    name text,
    metadata jsonb
);
alter table storage.objects enable row level security;
alter table storage.buckets enable row level security;
alter table storage.migrations owner to supabase_storage_admin;
alter table storage.buckets owner to supabase_storage_admin;
alter table storage.objects owner to supabase_storage_admin;
grant all on storage.buckets, storage.objects to postgres, anon, authenticated, service_role;
grant select on storage.migrations to postgres;
insert into storage.migrations values (0, 'create-migrations-table'), (1, 'initialmigration');

create table vault.secrets (id uuid primary key default gen_random_uuid(), name text, secret text not null);
create table pgsodium.key (id uuid primary key default gen_random_uuid(), raw_key bytea);
create table realtime.messages (id bigserial, topic text not null);
create table _realtime.tenants (id uuid primary key, jwt_secret text);
create table supabase_functions.migrations (version text primary key);
create table supabase_functions.hooks (id bigserial primary key, hook_name text not null);
create table supabase_migrations.schema_migrations (version text primary key, statements text[]);
alter table supabase_migrations.schema_migrations owner to postgres;
create function pgbouncer.get_auth(name text) returns text language sql security definer as 'select name';
insert into vault.secrets (name, secret) values ('stripe', 'encrypted');

create function extensions.grant_pg_graphql_access() returns event_trigger language plpgsql as 'begin end';
create event trigger issue_pg_graphql_access on ddl_command_end execute function extensions.grant_pg_graphql_access();
create publication supabase_realtime;
alter publication supabase_realtime owner to postgres;
