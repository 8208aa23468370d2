FROM scratch
COPY --link config.yaml /
COPY --link package.json /
