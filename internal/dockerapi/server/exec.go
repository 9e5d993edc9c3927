package server

var execRoutes = []route{}
