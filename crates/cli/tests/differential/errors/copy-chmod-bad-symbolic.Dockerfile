FROM scratch
COPY --chmod=u+q config.yaml /a
# case: differs=error, BuildKit does not say what it cannot read
