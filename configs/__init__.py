"""One file per trained model; each has `get_config(variant)`."""
