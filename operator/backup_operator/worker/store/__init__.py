"""Room `worker.store`: the files of one policy on the volume; knows neither sources nor stages.

layout   opens the directory, measures its room       run      writes a run, removes those of dead ones
lock     one writer at a time                          entry    the record of a run, authenticated
catalog  what the store holds                          audit    the trail of what was done
recover  RECOVER.md                                    faults   the operating system's errors in our words
marker   that a restore request has begun              hold     keeps a run that is read
deletion removes a run
"""
