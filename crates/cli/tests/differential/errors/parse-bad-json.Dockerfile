FROM scratch
COPY ["config.yaml" "/"]
# case: differs=error, BuildKit shows an error of its protocol
