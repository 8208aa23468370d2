FROM scratch
COPY --from config.yaml /
