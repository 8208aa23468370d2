FROM scratch
COPY config.yaml /
XYZZY plugh
