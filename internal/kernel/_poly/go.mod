module poly

go 1.26
