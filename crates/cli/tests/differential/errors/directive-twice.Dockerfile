# escape=`
# escape=`
FROM scratch
# case: differs=error, BuildKit marks the line above
