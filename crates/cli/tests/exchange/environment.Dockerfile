FROM scratch AS busybox
COPY rootfs /
FROM busybox
ENV A=1 B="two words" C=${A}x
ENV PATH=/opt/bin:$PATH
ENV LEGACY form with spaces
RUN env | sort > /env
ENV A=2
RUN echo $A > /a
