-- What a user makes in a database like that of supabase_like.sql; run by the role `postgres`.

create table public.profiles (
    id uuid primary key references auth.users on delete cascade,
    username text unique,
    avatar text
);
alter table public.profiles enable row level security;
create policy "Everybody sees profiles" on public.profiles for select using (true);
create policy "Owners change theirs" on public.profiles for update using (auth.uid() = id);
create table public.messages (id bigint generated always as identity primary key, author uuid, body text not null);
grant all on public.profiles, public.messages to anon, authenticated, service_role;

create function public.make_profile() returns trigger language plpgsql security definer as $$
begin
    insert into public.profiles (id, username) values (new.id, new.email);
    return new;
end $$;
set session_replication_role = origin;
alter publication supabase_realtime add table public.messages;
create publication mine for table public.profiles;

insert into auth.users (email, raw_user_meta_data)
select 'user' || i || '@example.com', jsonb_build_object('n', i) from generate_series(1, 40) i;
insert into auth.identities (user_id, provider) select id, 'email' from auth.users;
insert into public.profiles (id, username) select id, email from auth.users;
insert into public.messages (author, body) select id, 'hello from ' || email from auth.users;
insert into storage.buckets (id, name) values ('avatars', 'avatars');
insert into storage.objects (bucket_id, name) select 'avatars', 'a' || i || '.png' from generate_series(1, 15) i;
insert into supabase_migrations.schema_migrations values ('20240101000000', array['create table profiles ()']);
