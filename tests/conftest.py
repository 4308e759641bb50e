"""What every test shares: no example of a property is judged by its time, which is the machine's on that day."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
