# escape=`
FROM scratch
COPY <<EOT /file
a \ b ` c
"quoted" 'single' `$x
EOT
