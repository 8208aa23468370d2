FROM scratch
ARG known=1
ENV PATHS=$PATHH
COPY $knwon/config.yaml /$unknown/
LABEL a=$known b=$B
WORKDIR /$HOMEE
