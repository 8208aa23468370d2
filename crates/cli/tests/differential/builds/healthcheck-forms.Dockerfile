FROM scratch AS none
COPY config.yaml /
HEALTHCHECK NONE
FROM scratch AS shell
COPY config.yaml /
HEALTHCHECK CMD curl -f http://localhost/ || exit 1
FROM scratch
COPY config.yaml /
HEALTHCHECK --interval=5m --timeout=3s --start-period=1m30s --start-interval=250ms --retries=4 CMD ["curl", "-f", "http://localhost/"]
