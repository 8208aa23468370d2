FROM scratch AS busybox
COPY rootfs /
FROM busybox
ARG SOURCE_DATE_EPOCH
RUN echo $SOURCE_DATE_EPOCH > /epoch
COPY config.yaml /
WORKDIR /made
COPY <<f /f
f
# case: build-arg=SOURCE_DATE_EPOCH=1234567890
