FROM scratch AS files
ARG TARGETARCH
COPY src /src-$TARGETARCH/
FROM scratch
COPY --from=files / /
COPY package.json config.yaml /
