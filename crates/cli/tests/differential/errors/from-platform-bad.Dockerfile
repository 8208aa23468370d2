FROM --platform=linux/amd64/v1/v2 scratch
COPY config.yaml /
