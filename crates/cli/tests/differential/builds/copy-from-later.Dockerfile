FROM scratch
COPY --from=later /a /
FROM scratch AS later
COPY config.yaml /a
