FROM scratch
COPY config.yaml
