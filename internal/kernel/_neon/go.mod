module neon

go 1.26.0
