FROM scratch AS busybox
COPY rootfs /
FROM busybox
ARG ONE
ARG TWO=2 THREE="three $TWO" FOUR
ARG FIVE=${ONE:-five}
RUN echo "$ONE,$TWO,$THREE,$FOUR,$FIVE" > /values
# case: build-arg=FOUR=given
# case: build-arg=TWO=second
