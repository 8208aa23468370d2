FROM --plattform=linux/amd64 scratch
COPY config.yaml /
