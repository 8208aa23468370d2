FROM scratch
COPPY config.yaml /
# case: call=outline
