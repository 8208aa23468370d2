FROM scratch AS busybox
COPY rootfs /
FROM busybox
# A comment.
RUN echo one \
# a comment inside
    two \
  # another one
    three > /words && \
    echo done >> /words
  # an indented one
ENV A=1 \
    B=2
LABEL one=1 \
      # between
      two=2
