FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN mkdir /real && ln -s /real /alias
WORKDIR /alias/sub
COPY config.yaml .
WORKDIR relative
WORKDIR deeper/./and/../up
WORKDIR /absolute//twice/
WORKDIR ${HOME:-none}
WORKDIR /bin
RUN pwd > /where
WORKDIR /last/one
USER builder
WORKDIR /mine
USER 77:88
WORKDIR /numbers/deep
