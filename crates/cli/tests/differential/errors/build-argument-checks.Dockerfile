FROM scratch AS Upper
COPY config.yaml /
MAINTAINER me
# case: build-arg=BUILDKIT_DOCKERFILE_CHECK=skip=StageNameCasing;error=true
