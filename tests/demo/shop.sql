-- What the demo's PostgreSQL holds beside the 500,000 rows of pgbench.
CREATE TYPE mood AS ENUM ('happy', 'sad');
CREATE TABLE users (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, mood mood, photo bytea);
INSERT INTO users (name, mood, photo)
  SELECT 'Grüße from user ' || n, (ARRAY['happy', 'sad'])[1 + n % 2]::mood, decode(md5(n::text), 'hex')
  FROM generate_series(1, 10000) AS n;
CREATE TABLE conversations (id serial PRIMARY KEY, user_id integer REFERENCES users, messages jsonb);
INSERT INTO conversations (user_id, messages)
  SELECT 1 + n % 10000, jsonb_build_array(jsonb_build_object('from', 'user', 'text', 'message ' || n, 'emoji', '😀'))
  FROM generate_series(1, 20000) AS n;
CREATE VIEW happy_users AS SELECT * FROM users WHERE mood = 'happy';
