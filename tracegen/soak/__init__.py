"""Run after run on real nodes: drawn from seeds (`draw.py`), judged, kept whole if something is wrong (`soaking.py`).

`again.py` judges kept runs again, or makes them once more; `command.py` is what can be typed.
"""
