FROM scratch AS busybox
COPY rootfs /
FROM busybox
ENV NAME=file.tar.gz EMPTY=
ENV STEM=${NAME%%.*} REST=${NAME#*.} OTHER=${EMPTY:-default} PLUS=${NAME:+set}
RUN echo $STEM $REST $OTHER $PLUS > /out
COPY package.json /${STEM}/
