FROM --platform=$BUILDPLATFORM scratch AS tools
ARG BUILDPLATFORM TARGETPLATFORM
COPY config.yaml /from-${BUILDPLATFORM##*/}
FROM scratch
COPY --from=tools / /
# case: platform=linux/arm64
