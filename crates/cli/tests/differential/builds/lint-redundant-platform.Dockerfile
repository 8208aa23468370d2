FROM --platform=$TARGETPLATFORM scratch AS one
COPY config.yaml /
FROM --platform=${TARGETPLATFORM} scratch
COPY config.yaml /
