"""`python -m tests.bench [--rounds N] [--gigabytes G]`: every benchmark, one after the other."""

import argparse

from tests.bench import backup, restore_postgres, restore_redis


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Backup time, size and memory as ratios."
    )
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds of each command (default 3)")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the database (default 1.0)")
    arguments = parser.parse_args()
    backup.run(rounds=arguments.rounds, gigabytes=arguments.gigabytes)
    restore_postgres.run(rounds=arguments.rounds, gigabytes=arguments.gigabytes)
    restore_redis.run(rounds=arguments.rounds)


if __name__ == "__main__":
    main()
