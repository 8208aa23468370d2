FROM scratch
COPY config.yaml /
HEALTHCHECK --interval=30s CMD curl -f http://localhost/ || exit 1
