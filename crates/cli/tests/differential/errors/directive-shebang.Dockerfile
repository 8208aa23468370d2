#!/usr/bin/env docker-build
# escape=`
FROM scratch
COPY config.yaml `
  /
