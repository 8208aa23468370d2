FROM scratch
COPPY config.yaml /
