FROM scratch
COPY config.yaml /
WORKDIR relative
WORKDIR again
