FROM scratch
# escape=`
COPY config.yaml \
  /
