from scratch
copy config.yaml /
env a=1
LABEL a=1
