FROM scratch
COPY config.yaml /zero
FROM scratch
COPY missing-but-unused /
# case: target=0
