"""``python -m tests.live.beat``: the portal's beat, doing each second what is due within a minute, so that tests wait less."""

from __future__ import annotations

from datetime import timedelta

from portal.beat import app

if __name__ == "__main__":
    for entry in app.conf.beat_schedule.values():
        if entry["schedule"] <= timedelta(minutes=1):
            entry["schedule"] = timedelta(seconds=1)
    app.conf.beat_max_loop_interval = 0.5
    app.Beat(scheduler_cls="redbeat.RedBeatScheduler").run()
