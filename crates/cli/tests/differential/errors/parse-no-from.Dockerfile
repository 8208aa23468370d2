COPY config.yaml /
