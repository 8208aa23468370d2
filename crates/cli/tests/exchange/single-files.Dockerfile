FROM scratch AS busybox
COPY rootfs /
FROM busybox
COPY package.json /renamed.json
COPY package.json config.yaml /both/
ADD config.yaml /added/
RUN cat /renamed.json /both/* /added/* > /all
