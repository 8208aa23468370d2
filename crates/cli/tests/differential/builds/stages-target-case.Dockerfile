FROM scratch AS First
COPY config.yaml /
FROM scratch
COPY missing-but-unused /
# case: target=FIRST
